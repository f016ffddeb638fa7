// The works of the benchmark on Go: lines "work<TAB>who<TAB>nanoseconds".
package main

import (
	"fmt"
	"runtime"
	"sort"
	"sync"
	"time"
)

func report(work string, items int, body func(int)) {
	var times []float64
	for i := 0; i < 5; i++ {
		start := time.Now()
		body(items)
		times = append(times, float64(time.Since(start).Nanoseconds())/float64(items))
	}
	sort.Float64s(times)
	fmt.Printf("%s\tGo\t%.1f\n", work, times[2])
}

func yields(tasks int) func(int) {
	return func(items int) {
		var group sync.WaitGroup
		for i := 0; i < tasks; i++ {
			group.Add(1)
			go func() {
				for j := 0; j < items/tasks; j++ {
					runtime.Gosched()
				}
				group.Done()
			}()
		}
		group.Wait()
	}
}

func main() {
	for _, tasks := range []int{10, 1000, 100000} {
		items := 1000000
		if items < tasks*10 {
			items = tasks * 10
		}
		report(fmt.Sprintf("sleep(0), %d tasks", tasks), items, yields(tasks))
	}
	report("create and await one task", 200000, func(items int) {
		for i := 0; i < items; i++ {
			done := make(chan struct{})
			go func() { close(done) }()
			<-done
		}
	})
	report("gather of 1000000 that return at once", 1000000, func(items int) {
		var group sync.WaitGroup
		group.Add(items)
		for i := 0; i < items; i++ {
			go func() { group.Done() }()
		}
		group.Wait()
	})
	report("queue ping-pong, round trip", 300000, func(items int) {
		there, back := make(chan int, 1), make(chan int, 1)
		go func() {
			for i := 0; i < items; i++ {
				back <- <-there
			}
		}()
		for i := 0; i < items; i++ {
			there <- 1
			<-back
		}
	})
}
