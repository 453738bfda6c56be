package main

import (
	"fmt"
	"path/filepath"
	"strconv"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/spf13/afero"
)

func makeGrype(root string, in input) error {
	directory := filepath.Join(root, strconv.Itoa(v6.ModelVersion))
	if err := afero.NewOsFs().MkdirAll(directory, 0o755); err != nil {
		return err
	}
	config := v6.Config{DBDirPath: directory}
	writer, err := v6.NewWriter(config)
	if err != nil {
		return err
	}
	for _, advisory := range in.Advisories {
		if err := putGrype(writer, advisory, in); err != nil {
			return err
		}
	}
	if err := writer.Close(); err != nil {
		return err
	}
	// The writer leaves the indexes out, as in a database that is to be sent, and says that it was made now.
	if err := v6.Hydrater()(directory); err != nil {
		return err
	}
	opened, err := v6.NewLowLevelDB(config.DBFilePath(), false, true, false)
	if err != nil {
		return err
	}
	made := in.UpdatedAt.UTC()
	if err := opened.Model(&v6.DBMetadata{}).Where("true").Update("build_timestamp", &made).Error; err != nil {
		return err
	}
	connection, err := opened.DB()
	if err != nil {
		return err
	}
	if err := connection.Close(); err != nil {
		return err
	}
	_, err = v6.WriteImportMetadata(afero.NewOsFs(), directory, "scanner-databases")
	return err
}

func putGrype(writer v6.ReadWriter, advisory advisory, in input) error {
	kind, release, err := advisory.kind()
	if err != nil {
		return err
	}
	handle := v6.AffectedPackageHandle{Package: &v6.Package{Name: advisory.Package, Ecosystem: kind}}
	provider, versions := "github", "semver"
	if kind == debian {
		provider, versions = debian, "dpkg"
		handle.Package.Ecosystem = "deb"
		handle.OperatingSystem = &v6.OperatingSystem{Name: debian, ReleaseID: debian, MajorVersion: release}
	}
	vulnerability := &v6.VulnerabilityHandle{
		Name:          advisory.ID,
		Status:        v6.VulnerabilityActive,
		PublishedDate: &advisory.Published,
		Provider:      &v6.Provider{ID: provider, Version: "1", Processor: "scanner-databases", DateCaptured: &in.UpdatedAt},
		BlobValue:     &v6.VulnerabilityBlob{ID: advisory.ID, Description: "a weakness of " + advisory.Package},
	}
	vulnerability.ProviderID = provider
	if advisory.Severity != "" {
		severity := v6.Severity{Scheme: v6.SeveritySchemeCHMLN, Value: advisory.Severity, Rank: 1}
		vulnerability.BlobValue.Severities = []v6.Severity{severity}
	}
	affected := v6.Range{Version: v6.Version{Type: versions}, Fix: &v6.Fix{State: v6.NotFixedStatus}}
	if advisory.Fixed != "" {
		affected.Version.Constraint = fmt.Sprintf("< %s", advisory.Fixed)
		affected.Fix = &v6.Fix{State: v6.FixedStatus, Version: advisory.Fixed}
	}
	handle.BlobValue = &v6.PackageBlob{Ranges: []v6.Range{affected}}
	if err := writer.AddVulnerabilities(vulnerability); err != nil {
		return err
	}
	handle.Vulnerability = vulnerability
	return writer.AddAffectedPackages(&handle)
}
