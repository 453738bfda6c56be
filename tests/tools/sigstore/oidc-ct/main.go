// Command oidc-ct is the rest of a private Sigstore, for tests: OpenID Connect issuers that say whatever
// they are told to say, and a certificate-transparency log that promises to hold a certificate and forgets it.
//
//	POST /ISSUER/token                 claims in JSON → a token; iss, aud, iat and exp are filled in
//	GET  /ISSUER/.well-known/openid-configuration, /ISSUER/keys
//	POST /ct/ct/v1/add-pre-chain       RFC 6962 §4.2
//	GET  /ct/key                       the log's public key, in PEM
//
// ISSUER is any word. The program listens on a port of 127.0.0.1 that the system chooses, and prints
// "listening on HOST:PORT". Its keys live as long as itself.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"
)

const (
	// lifetime is how long the program runs if nobody stops it: longer than any test run.
	lifetime = time.Hour
	// longest is the longest request that is read, in bytes.
	longest = 1 << 20
)

// answering makes a handler of a function that reads a request of type Q and answers with JSON.
func answering[Q any](answer func(*http.Request, Q) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var question Q
		if r.Method == http.MethodPost {
			if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, longest)).Decode(&question); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
		}
		said, err := answer(r, question)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		// If the client is gone, nobody hears of it.
		_ = json.NewEncoder(w).Encode(said)
	}
}

func run() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	issuers, err := newIssuers("http://" + listener.Addr().String())
	if err != nil {
		return err
	}
	transparency, err := newTransparency()
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{issuer}/.well-known/openid-configuration", answering(issuers.discovery))
	mux.HandleFunc("GET /{issuer}/keys", answering(issuers.keys))
	mux.HandleFunc("POST /{issuer}/token", answering(issuers.token))
	mux.HandleFunc("POST /ct/ct/v1/add-pre-chain", answering(transparency.addPreChain))
	mux.HandleFunc("GET /ct/key", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(transparency.pem) })
	fmt.Printf("listening on %s\n", listener.Addr())
	return http.Serve(listener, mux)
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("oidc-ct: ")
	time.AfterFunc(lifetime, func() { log.Fatalf("ended after %s", lifetime) })
	log.Fatal(run())
}
