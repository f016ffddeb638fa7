// The page "hello" by net/http, and a client for it.
//
//	http_go server                              prints its port
//	http_go client PORT CONNECTIONS REQUESTS    prints nanoseconds per request
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func serve() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	http.HandleFunc("/", func(writer http.ResponseWriter, _ *http.Request) {
		writer.Header().Set("Content-Type", "text/plain; charset=utf-8")
		io.WriteString(writer, "hello")
	})
	check(http.Serve(listener, nil))
}

func ask(port string, connections int, requests int64) {
	client := &http.Client{Transport: &http.Transport{
		MaxIdleConns: connections, MaxIdleConnsPerHost: connections}}
	var group sync.WaitGroup
	left := requests
	start := time.Now()
	for i := 0; i < connections; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for atomic.AddInt64(&left, -1) >= 0 {
				response, err := client.Get("http://127.0.0.1:" + port + "/")
				check(err)
				body, err := io.ReadAll(response.Body)
				check(err)
				response.Body.Close()
				if string(body) != "hello" {
					panic("another page")
				}
			}
		}()
	}
	group.Wait()
	fmt.Println(time.Since(start).Nanoseconds() / requests)
}

func main() {
	if len(os.Args) == 2 {
		serve()
	}
	connections, err := strconv.Atoi(os.Args[3])
	check(err)
	requests, err := strconv.ParseInt(os.Args[4], 10, 64)
	check(err)
	ask(os.Args[2], connections, requests)
}
