//! Servers in Rust whose truth is known: SHAPE N, a nap of 5 ms after each request.
//!
//! `vec`: a Vec that grows; `map`: a HashMap of boxes that grows; `lru`: the latest 150 of them; `leak`:
//! a block forgotten in every request; `cycle`: an Rc in every request that refers to itself.
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

struct Node {
    _content: [u8; 200],
    itself: RefCell<Option<Rc<Node>>>,
}

#[derive(Default)]
struct Kept {
    list: Vec<[u8; 96]>,
    map: HashMap<usize, Box<[u8; 96]>>,
    fifo: VecDeque<Box<[u8; 300]>>,
}

#[inline(never)]
fn keep(shape: &str, request: usize, kept: &mut Kept) {
    match shape {
        "vec" => kept.list.push([0; 96]),
        "map" => drop(kept.map.insert(request, Box::new([0; 96]))),
        "lru" => {
            if kept.fifo.len() >= 150 {
                kept.fifo.pop_front();
            }
            kept.fifo.push_back(Box::new([0; 300]));
        }
        "cycle" => {
            let node = Rc::new(Node { _content: [0; 200], itself: RefCell::new(None) });
            *node.itself.borrow_mut() = Some(node.clone());
        }
        _ => std::mem::forget(Box::new([1u8; 160])),
    }
}

#[inline(never)]
fn sink(text: &str) -> usize {
    text.len()
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let n: usize = arguments[2].parse().unwrap();
    let mut kept = Kept::default();
    for request in 0..n {
        let text = "x".repeat(100 + request % 900);
        sink(&text);
        keep(&arguments[1], request, &mut kept);
        std::thread::sleep(Duration::from_millis(5));
    }
}
