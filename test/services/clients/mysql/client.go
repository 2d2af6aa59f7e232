// Go's driver: ADDRESS NAME USER PASSWORD CA [CERT KEY]. Prepares and fetches; NAME is what it asks for and verifies.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"fmt"
	"os"

	"github.com/go-sql-driver/mysql"
)

func main() {
	address, name, user, password, ca := os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]
	roots := x509.NewCertPool()
	pem, err := os.ReadFile(ca)
	check(err)
	roots.AppendCertsFromPEM(pem)
	config := &tls.Config{RootCAs: roots, ServerName: name}
	if len(os.Args) > 7 {
		pair, err := tls.LoadX509KeyPair(os.Args[6], os.Args[7])
		check(err)
		config.Certificates = []tls.Certificate{pair}
	}
	check(mysql.RegisterTLSConfig("own", config))
	db, err := sql.Open("mysql", fmt.Sprintf("%s:%s@tcp(%s)/?tls=own", user, password, address))
	check(err)
	defer db.Close()
	var sum, length int
	var who string
	check(db.QueryRow("select ? + 1, length(repeat('x', ?)), current_user()", 41, 70000).Scan(&sum, &length, &who))
	fmt.Println(sum, length, who)
}

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
