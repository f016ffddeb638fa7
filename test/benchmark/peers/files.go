// Reads at random offsets, by goroutines that share a file. Prints nanoseconds per read.
//
//	files FILE BYTES READS GOROUTINES
package main

import (
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"sync"
	"time"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func number(index int) int64 {
	value, err := strconv.ParseInt(os.Args[index], 10, 64)
	check(err)
	return value
}

func main() {
	bytes, reads, goroutines := number(2), number(3), number(4)
	file, err := os.Open(os.Args[1])
	check(err)
	about, err := file.Stat()
	check(err)
	blocks := about.Size() / bytes
	var group sync.WaitGroup
	start := time.Now()
	for i := int64(0); i < goroutines; i++ {
		group.Add(1)
		random := rand.New(rand.NewSource(i))
		go func() {
			buffer := make([]byte, bytes)
			for left := reads / goroutines; left > 0; left-- {
				_, err := file.ReadAt(buffer, random.Int63n(blocks)*bytes)
				check(err)
			}
			group.Done()
		}()
	}
	group.Wait()
	fmt.Println(float64(time.Since(start).Nanoseconds()) / float64(reads))
}
