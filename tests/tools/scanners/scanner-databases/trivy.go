package main

import (
	"strings"
	"time"

	"github.com/aquasecurity/trivy-db/pkg/db"
	"github.com/aquasecurity/trivy-db/pkg/metadata"
	"github.com/aquasecurity/trivy-db/pkg/types"
	"github.com/aquasecurity/trivy-db/pkg/vulnsrc/bucket"
	"github.com/aquasecurity/trivy-db/pkg/vulnsrc/vulnerability"
	bolt "go.etcd.io/bbolt"
)

func makeTrivy(directory string, in input) error {
	if err := db.Init(directory); err != nil {
		return err
	}
	put := func(tx *bolt.Tx) error {
		for _, advisory := range in.Advisories {
			if err := putTrivy(tx, advisory); err != nil {
				return err
			}
		}
		return nil
	}
	if err := (db.Config{}).BatchUpdate(put); err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	return metadata.NewClient(directory).Update(metadata.Metadata{
		Version:   db.SchemaVersion,
		UpdatedAt: in.UpdatedAt,
		// Trivy refuses a database whose next version is overdue, if it may not fetch it.
		NextUpdate:   in.UpdatedAt.Add(100 * 365 * 24 * time.Hour),
		DownloadedAt: in.UpdatedAt,
	})
}

func putTrivy(tx *bolt.Tx, advisory advisory) error {
	kind, release, err := advisory.kind()
	if err != nil {
		return err
	}
	config := db.Config{}
	severity, err := types.NewSeverity(strings.ToUpper(advisory.Severity))
	if err != nil && advisory.Severity != "" {
		return err
	}

	var place string
	var source types.DataSource
	var stored types.Advisory
	switch kind {
	case debian:
		place = "debian " + release
		source = types.DataSource{ID: vulnerability.Debian, Name: "Debian Security Tracker"}
		stored = types.Advisory{FixedVersion: advisory.Fixed}
		if advisory.Fixed == "" {
			stored.Status = types.StatusAffected
		}
	case npm:
		source = types.DataSource{ID: vulnerability.GHSA, Name: "GitHub Security Advisory npm"}
		place = bucket.Name(vulnerability.Npm, source.Name)
		stored = types.Advisory{VulnerableVersions: []string{">=0.0.0"}}
		if advisory.Fixed != "" {
			stored = types.Advisory{VulnerableVersions: []string{"<" + advisory.Fixed}, PatchedVersions: []string{advisory.Fixed}}
		}
	}
	if err := config.PutDataSource(tx, place, source); err != nil {
		return err
	}
	if err := config.PutAdvisory(tx, []string{place, advisory.Package}, advisory.ID, &stored); err != nil {
		return err
	}
	about := types.Vulnerability{Title: "a weakness of " + advisory.Package, PublishedDate: &advisory.Published}
	if severity != types.SeverityUnknown {
		about.VendorSeverity = types.VendorSeverity{source.ID: severity}
	}
	return config.PutVulnerability(tx, advisory.ID, about)
}
