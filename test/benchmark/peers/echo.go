// The servers of the network rows on Go: a goroutine for each connection. Prints its port.
//
//	echo_go tcp|udp|accept
//	echo_go tls CERTIFICATE KEY
package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"os"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func echo(connection net.Conn) {
	defer connection.Close()
	buffer := make([]byte, 64*1024)
	for {
		got, err := connection.Read(buffer)
		if err != nil {
			return
		}
		if _, err := connection.Write(buffer[:got]); err != nil {
			return
		}
	}
}

func oneByte(connection net.Conn) {
	connection.Write([]byte("x"))
	connection.Close()
}

func datagrams() {
	socket, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	check(err)
	fmt.Println(socket.LocalAddr().(*net.UDPAddr).Port)
	buffer := make([]byte, 64*1024)
	for {
		got, from, err := socket.ReadFromUDPAddrPort(buffer)
		check(err)
		_, err = socket.WriteToUDPAddrPort(buffer[:got], from)
		check(err)
	}
}

func main() {
	mode := os.Args[1]
	if mode == "udp" {
		datagrams()
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	serve := echo
	switch mode {
	case "accept":
		serve = oneByte
	case "tls":
		certificate, err := tls.LoadX509KeyPair(os.Args[2], os.Args[3])
		check(err)
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}})
	}
	for {
		connection, err := listener.Accept()
		check(err)
		go serve(connection)
	}
}
