// Go's crypto/tls. Words and output: client.h
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
)

func main() {
	asked := map[string]string{"connections": "1", "bytes": "100", "do": "echo"}
	for _, word := range os.Args[1:] {
		key, value, _ := strings.Cut(word, "=")
		asked[key] = value
	}
	length, _ := strconv.Atoi(asked["bytes"])
	payload := []byte(asked["name"] + strings.Repeat(".", length-len(asked["name"])))
	connections, _ := strconv.Atoi(asked["connections"])
	config := configure(asked)
	for i := 0; i < connections; i++ {
		if err := converse(config, asked, payload); err != nil {
			fmt.Println("failed", err)
		}
	}
}

func configure(asked map[string]string) *tls.Config {
	pem, _ := os.ReadFile(asked["ca"])
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	version := uint16(tls.VersionTLS13)
	if asked["version"] == "1.2" {
		version = tls.VersionTLS12
	}
	config := &tls.Config{
		RootCAs: roots, ServerName: asked["name"], MinVersion: version, MaxVersion: version,
		ClientSessionCache: tls.NewLRUClientSessionCache(4),
	}
	if asked["cert"] != "" {
		certificate, err := tls.LoadX509KeyPair(asked["cert"], asked["key"])
		// In Certificates it would keep to itself one that is of none of the CAs which the server names.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, err }
	}
	return config
}

func converse(config *tls.Config, asked map[string]string, payload []byte) error {
	raw, err := net.Dial("tcp", "127.0.0.1:"+asked["port"])
	if err != nil {
		return err
	}
	defer raw.Close()
	client := tls.Client(raw, config)
	if err := client.Handshake(); err != nil {
		return err
	}
	state := client.ConnectionState()
	versions := map[uint16]string{tls.VersionTLS12: "TLSv1.2", tls.VersionTLS13: "TLSv1.3"}
	resumed := map[bool]string{true: "resumed", false: "full"}
	fmt.Println("connected", versions[state.Version], resumed[state.DidResume])
	if _, err := client.Write(payload); err != nil {
		return err
	}
	if asked["do"] == "reset" {
		raw.(*net.TCPConn).SetLinger(0)
		fmt.Println("reset")
		return nil
	}
	answer := make([]byte, len(payload))
	if _, err := io.ReadFull(client, answer); err != nil {
		return err
	}
	if !bytes.Equal(answer, payload) {
		return fmt.Errorf("another answer")
	}
	fmt.Println("echoed", len(answer))
	return client.Close()
}
