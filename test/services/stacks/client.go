// A client of crypto/tls: `client CA CERT KEY`, then attempts of four words each; see refused-clients-name-the-alert.services.ts.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"
)

func main() {
	ca, err := os.ReadFile(os.Args[1])
	check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	own, err := tls.LoadX509KeyPair(os.Args[2], os.Args[3])
	check(err)
	sessions := tls.NewLRUClientSessionCache(100)
	for rest := os.Args[4:]; len(rest) >= 4; rest = rest[4:] {
		count, err := strconv.Atoi(rest[3])
		check(err)
		for n := 0; n < count; n++ {
			answer, err := attempt(rest[0], rest[2], &tls.Config{
				RootCAs: roots, Certificates: []tls.Certificate{own}, ServerName: rest[1],
				ClientSessionCache: sessions, MinVersion: tls.VersionTLS13,
			})
			if err != nil {
				fmt.Println(rest[1], "failed", err)
			} else {
				fmt.Println(rest[1], "got", answer)
			}
		}
	}
}

func attempt(port string, mode string, config *tls.Config) (string, error) {
	conn, err := tls.Dial("tcp", "127.0.0.1:"+port, config)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if mode == "speaks" {
		if _, err := conn.Write([]byte("ping")); err != nil {
			return "", err
		}
	}
	answer := make([]byte, 4)
	_, err = io.ReadFull(conn, answer)
	return string(answer), err
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
