// Goroutines that call malloc of C.
package main

/*
#include <stdlib.h>
#include <string.h>
static size_t use(size_t n) { char *p = malloc(n); memset(p, 'x', n - 1); p[n - 1] = 0; n = strlen(p); free(p); return n; }
*/
import "C"

import (
	"fmt"
	"os"
	"sync"
)

func main() {
	var group sync.WaitGroup
	sums := make([]int, 8)
	for i := range sums {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			for n := 1; n < 1000; n++ {
				sums[i] += int(C.use(C.size_t(n + i)))
			}
		}(i)
	}
	group.Wait()
	fmt.Println(sums)
	os.Exit(6)
}
