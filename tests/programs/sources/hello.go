// Goroutines, a panic that is caught, and a child.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
)

func main() {
	var group sync.WaitGroup
	sums := make([]int, 8)
	for i := range sums {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			for _, b := range make([]byte, 1<<16) {
				sums[i] += int(b) + i
			}
		}(i)
	}
	group.Wait()
	func() {
		defer func() { fmt.Println("caught", recover()) }()
		panic("panic")
	}()
	output, err := exec.Command("echo", "child").Output()
	fmt.Print(sums, string(output), err, "\n")
	os.Exit(6)
}
