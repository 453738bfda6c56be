// Command referrers-registry is go-containerregistry's registry with the referrers API (OCI distribution
// spec 1.1), which the distribution project's registry does not have. It keeps everything in memory.
//
// It listens on a port of 127.0.0.1 that the system chooses, prints "listening on HOST:PORT", and then a
// line for each request in Apache's combined log format, as the other registry does.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

// lifetime is how long the program runs if nobody stops it: longer than any test run.
const lifetime = time.Hour

// answered remembers what an answer was.
type answered struct {
	http.ResponseWriter
	status, size int
}

func (a *answered) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

func (a *answered) Write(bytes []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	n, err := a.ResponseWriter.Write(bytes)
	a.size += n
	return n, err
}

// logged writes a line to out for each request that next has answered.
func logged(next http.Handler, out io.Writer) http.Handler {
	var lock sync.Mutex
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := &answered{ResponseWriter: w}
		next.ServeHTTP(answer, r)
		lock.Lock()
		defer lock.Unlock()
		fmt.Fprintf(out, "%s - - [%s] \"%s %s %s\" %d %d %q %q\n", r.RemoteAddr,
			time.Now().Format("02/Jan/2006:15:04:05 -0700"), r.Method, r.RequestURI, r.Proto,
			answer.status, answer.size, r.Referer(), r.UserAgent())
	})
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("referrers-registry: ")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	time.AfterFunc(lifetime, func() { log.Fatalf("ended after %s", lifetime) })
	fmt.Printf("listening on %s\n", listener.Addr())
	quiet := registry.Logger(log.New(io.Discard, "", 0))
	log.Fatal(http.Serve(listener, logged(registry.New(quiet, registry.WithReferrersSupport(true)), os.Stdout)))
}
