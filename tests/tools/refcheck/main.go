// Refcheck reads image references as containerd and the kubelet do, for Tidewaiter's tests to compare with.
//
// Each line of standard input is one reference as a JSON string, so that control characters survive.
// Each line of standard output is the answer to the same line of the input, as a JSON object.
package main

import (
	"bufio"
	// A digest is valid only where its hash is linked in, as it is in every runtime.
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/distribution/reference"
)

// answer is what distribution/reference makes of one text.
type answer struct {
	// Error is why the text is no reference; with it, all else is empty.
	Error string `json:"error,omitempty"`
	// Domain is the registry, as a runtime would ask it.
	Domain string `json:"domain"`
	// Path is the repository in that registry.
	Path string `json:"path"`
	// Tag is as written, or "latest" where neither tag nor digest is.
	Tag string `json:"tag,omitempty"`
	// Digest is as written.
	Digest string `json:"digest,omitempty"`
	// Pulls is what ParseDockerRef answers: the reference that a runtime pulls, without the tag beside a digest.
	Pulls string `json:"pulls"`
}

func read(text string) answer {
	named, err := reference.ParseNormalizedNamed(text)
	pulls, pullErr := reference.ParseDockerRef(text)
	if (err == nil) != (pullErr == nil) {
		return answer{Error: fmt.Sprintf("two verdicts: %v, %v", err, pullErr)}
	}
	if err != nil {
		return answer{Error: err.Error()}
	}
	named = reference.TagNameOnly(named)
	found := answer{Domain: reference.Domain(named), Path: reference.Path(named), Pulls: pulls.String()}
	if tagged, ok := named.(reference.Tagged); ok {
		found.Tag = tagged.Tag()
	}
	if digested, ok := named.(reference.Digested); ok {
		found.Digest = digested.Digest().String()
	}
	return found
}

func run(in io.Reader, out io.Writer) error {
	questions := json.NewDecoder(bufio.NewReader(in))
	buffered := bufio.NewWriter(out)
	answers := json.NewEncoder(buffered)
	for {
		var text string
		if err := questions.Decode(&text); errors.Is(err, io.EOF) {
			return buffered.Flush()
		} else if err != nil {
			return err
		}
		if err := answers.Encode(read(text)); err != nil {
			return err
		}
	}
}

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "refcheck:", err)
		os.Exit(1)
	}
}
