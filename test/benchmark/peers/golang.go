// The works of the benchmark on Go: lines "work<TAB>who<TAB>median<TAB>low<TAB>high" in nanoseconds,
// of the groups that are named as arguments (all of them without arguments).
package main

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"sync"
	"syscall"
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
	fmt.Printf("%s\tGo\t%.1f\t%.1f\t%.1f\n", work, times[2], times[0], times[4])
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

func chosen(group string) bool {
	for _, name := range os.Args[1:] {
		if name == group {
			return true
		}
	}
	return len(os.Args) == 1
}

// As scale.cpp does before it measures.
func settleMemory() {
	const page = 4096
	memory, err := syscall.Mmap(-1, 0, 1300000*page, syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_PRIVATE|syscall.MAP_ANON|syscall.MAP_NORESERVE)
	if err != nil {
		return
	}
	syscall.Madvise(memory, 15) // MADV_NOHUGEPAGE
	for at := page - 64; at < len(memory); at += page {
		memory[at] = 1
	}
	syscall.Munmap(memory)
}

// Beyond the sleep: until all have gone to sleep, and from their deadline until all are joined.
func sleepers(items int) {
	settleMemory()
	start := time.Now()
	deadline := start.Add(8 * time.Second)
	var asleep, group sync.WaitGroup
	asleep.Add(items)
	group.Add(items)
	for i := 0; i < items; i++ {
		go func() {
			asleep.Done()
			time.Sleep(time.Until(deadline))
			group.Done()
		}()
	}
	asleep.Wait()
	bedtime := time.Now()
	group.Wait()
	end := time.Now()
	if bedtime.After(deadline) {
		deadline = bedtime
	}
	took := bedtime.Sub(start) + end.Sub(deadline)
	fmt.Printf("1000000 sleepers, first round\tGo\t%.1f\n", float64(took.Nanoseconds())/float64(items))
}

func skynet(result chan int, number int, size int) {
	if size == 1 {
		result <- number
		return
	}
	children := make(chan int)
	for i := 0; i < 10; i++ {
		go skynet(children, number+i*size/10, size/10)
	}
	sum := 0
	for i := 0; i < 10; i++ {
		sum += <-children
	}
	result <- sum
}

func works(group string) {
	switch group {
	case "scale":
		sleepers(1000000)
		report("skynet, 1000000 tasks in a tree", 1000000, func(items int) {
			result := make(chan int)
			go skynet(result, 0, items)
			<-result
		})
	case "tasks":
		tasks()
	case "synchronization":
		queues()
	}
}

func main() {
	for _, group := range []string{"tasks", "synchronization", "scale"} {
		if chosen(group) {
			works(group)
		}
	}
}

func tasks() {
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
}

func queues() {
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
