// Threads, a panic that is caught, and a child.
use std::{panic, process, thread};

fn main() {
    let threads: Vec<_> = (0..8usize)
        .map(|i| thread::spawn(move || (0..2000).map(|n| vec![i as u8; n].len()).sum::<usize>()))
        .collect();
    let sums: Vec<usize> = threads.into_iter().map(|each| each.join().unwrap()).collect();
    println!("{:?}", sums);
    let caught = panic::catch_unwind(|| panic!("panic"));
    println!("{}", caught.is_err());
    let child = process::Command::new("echo").arg("child").output().unwrap();
    print!("{}", String::from_utf8_lossy(&child.stdout));
    process::exit(6);
}
