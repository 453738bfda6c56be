// Makes databases for Trivy and Grype that know a few advisories and nothing else.
//
//	scanner-databases DIRECTORY <advisories.json
//
// DIRECTORY/trivy becomes a cache directory for Trivy (--cache-dir), and DIRECTORY/grype one for Grype
// (GRYPE_DB_CACHE_DIR). The input is {"updatedAt": TIME, "advisories": [{"id", "severity"?, "published",
// "package", "fixed"?, "ecosystem": "debian 13" or "npm"}]}. Both databases say that they were made at that time.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// What is wrong with one package, of which every version below `Fixed` is affected, and all if that is empty.
type advisory struct {
	ID string `json:"id"`
	// critical, high, medium or low. Empty: nobody says.
	Severity  string    `json:"severity"`
	Published time.Time `json:"published"`
	Package   string    `json:"package"`
	Fixed     string    `json:"fixed"`
	Ecosystem string    `json:"ecosystem"`
}

type input struct {
	UpdatedAt  time.Time  `json:"updatedAt"`
	Advisories []advisory `json:"advisories"`
}

const (
	debian = "debian"
	npm    = "npm"
)

// The kind of package, and the release of the distribution where it has one.
func (a advisory) kind() (kind, release string, err error) {
	kind, release, _ = strings.Cut(a.Ecosystem, " ")
	if (kind == debian) != (release != "") || (kind != debian && kind != npm) {
		return "", "", fmt.Errorf("%s: ecosystem %q is neither npm nor debian with a release", a.ID, a.Ecosystem)
	}
	return kind, release, nil
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: scanner-databases DIRECTORY <advisories.json")
	}
	if err := run(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(directory string) error {
	var in input
	decoder := json.NewDecoder(os.Stdin)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&in); err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	if err := makeTrivy(filepath.Join(directory, "trivy", "db"), in); err != nil {
		return fmt.Errorf("the database of Trivy: %w", err)
	}
	if err := makeGrype(filepath.Join(directory, "grype"), in); err != nil {
		return fmt.Errorf("the database of Grype: %w", err)
	}
	return nil
}
