// The page "hello" and the files of a directory by net/http, and a client for the page.
//
//	http_go server DIRECTORY [CERTIFICATE KEY]    prints its port
//	http_go client URL CONNECTIONS REQUESTS       prints nanoseconds per request
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

func serve(directory string, secret []string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	http.HandleFunc("/", func(writer http.ResponseWriter, _ *http.Request) {
		writer.Header().Set("Content-Type", "text/plain; charset=utf-8")
		io.WriteString(writer, "hello")
	})
	http.Handle("/files/", http.StripPrefix("/files/", http.FileServer(http.Dir(directory))))
	if len(secret) == 2 {
		check(http.ServeTLS(listener, nil, secret[0], secret[1]))
	}
	check(http.Serve(listener, nil))
}

func ask(url string, connections int, requests int64) {
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
				response, err := client.Get(url)
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
	if os.Args[1] == "server" {
		serve(os.Args[2], os.Args[3:])
	}
	connections, err := strconv.Atoi(os.Args[3])
	check(err)
	requests, err := strconv.ParseInt(os.Args[4], 10, 64)
	check(err)
	ask(os.Args[2], connections, requests)
}
