// Command timestamp-server is Sigstore's timestamp authority (RFC 3161) with a key that lives as long as the
// program. The project's own command also listens on every interface for whoever wants metrics, always on
// the same port, and asks time servers on the Internet.
//
// It listens on a port of 127.0.0.1 that the system chooses, and prints "listening on HOST:PORT". Its own
// certificates are the answer to GET /api/v1/timestamp/certchain.
package main

import (
	"fmt"
	"log"
	"time"

	"github.com/spf13/viper"

	"github.com/sigstore/timestamp-authority/v2/pkg/server"
	"github.com/sigstore/timestamp-authority/v2/pkg/signer"
)

const (
	// lifetime is how long the program runs if nobody stops it: longer than any test run.
	lifetime = time.Hour
	// patience is how long a request may take.
	patience = 10 * time.Second
	// policy is the object identifier of the policy that Sigstore's authority follows.
	policy = "1.3.6.1.4.1.57264.2"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("timestamp-server: ")
	viper.Set("timestamp-signer", signer.MemoryScheme)
	viper.Set("timestamp-signer-hash", "sha256")
	viper.Set("default-policy-oid", policy)
	viper.Set("accepted-policy-oids", []string{policy})
	// What the project's own command has unless told otherwise.
	viper.Set("max-request-body-size", 1<<20)

	rest := server.NewRestAPIServer("127.0.0.1", 0, []string{"http"}, false, patience, patience)
	if err := rest.Listen(); err != nil {
		log.Fatal(err)
	}
	time.AfterFunc(lifetime, func() { log.Fatalf("ended after %s", lifetime) })
	fmt.Printf("listening on %s:%d\n", rest.Host, rest.Port)
	log.Fatal(rest.Serve())
}
