// Command fulcio is Sigstore's certificate authority with what the tests need: an authority that lives as
// long as the program, OpenID Connect issuers from a file, and both versions of its HTTP interface. The
// project's own command also listens on every interface for whoever wants metrics, and brings four clouds'
// key services.
//
// It listens on a port of 127.0.0.1 that the system chooses, and prints "listening on HOST:PORT". Its own
// certificate is in the answer to GET /api/v2/trustBundle.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	ctclient "github.com/google/certificate-transparency-go/client"
	"github.com/google/certificate-transparency-go/jsonclient"
	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	v1 "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore/pkg/signature"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/sigstore/fulcio/pkg/ca/ephemeralca"
	"github.com/sigstore/fulcio/pkg/config"
	"github.com/sigstore/fulcio/pkg/generated/protobuf"
	"github.com/sigstore/fulcio/pkg/generated/protobuf/legacy"
	"github.com/sigstore/fulcio/pkg/server"
)

const (
	// lifetime is how long the program runs if nobody stops it: longer than any test run.
	lifetime = time.Hour
	// patience is how long the log may take to answer.
	patience = 10 * time.Second
)

// bearer hands a token from the header Authorization on, as version 1 of the interface sends it.
func bearer(_ context.Context, request *http.Request) metadata.MD {
	token, found := strings.CutPrefix(request.Header.Get("Authorization"), "Bearer ")
	if !found {
		return nil
	}
	return metadata.Pairs(server.MetadataOIDCTokenKey, token)
}

// status answers with the status that the server chose: version 1 says 201.
func status(ctx context.Context, answer http.ResponseWriter, _ proto.Message) error {
	said, _ := runtime.ServerMetadataFromContext(ctx)
	for _, text := range said.HeaderMD.Get(server.HTTPResponseCodeMetadataKey) {
		code, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		answer.WriteHeader(code)
	}
	return nil
}

func run(issuers, logURL, logKey string) error {
	text, err := os.ReadFile(issuers)
	if err != nil {
		return err
	}
	settings, err := config.Read(text)
	if err != nil {
		return err
	}
	key, err := os.ReadFile(logKey)
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: patience}
	transparency, err := ctclient.New(logURL, client, jsonclient.Options{PublicKey: string(key)})
	if err != nil {
		return err
	}
	authority, err := ephemeralca.NewEphemeralCA()
	if err != nil {
		return err
	}
	algorithms, err := signature.NewAlgorithmRegistryConfig([]v1.PublicKeyDetails{
		v1.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256,
		v1.PublicKeyDetails_PKIX_ECDSA_P384_SHA_384,
		v1.PublicKeyDetails_PKIX_ECDSA_P521_SHA_512,
		v1.PublicKeyDetails_PKIX_RSA_PKCS1V15_2048_SHA256,
		v1.PublicKeyDetails_PKIX_RSA_PKCS1V15_3072_SHA256,
		v1.PublicKeyDetails_PKIX_RSA_PKCS1V15_4096_SHA256,
		v1.PublicKeyDetails_PKIX_ED25519,
	})
	if err != nil {
		return err
	}

	second := server.NewGRPCCAServer(transparency, authority, algorithms, server.NewIssuerPool(settings))
	mux := runtime.NewServeMux(runtime.WithMetadata(bearer), runtime.WithForwardResponseOption(status))
	if err := protobuf.RegisterCAHandlerServer(context.Background(), mux, second); err != nil {
		return err
	}
	first := server.NewLegacyGRPCCAServer(second)
	if err := legacy.RegisterCAHandlerServer(context.Background(), mux, first); err != nil {
		return err
	}
	configured := http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		mux.ServeHTTP(answer, request.WithContext(config.With(request.Context(), settings)))
	})

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("listening on %s\n", listener.Addr())
	return http.Serve(listener, configured)
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("fulcio: ")
	issuers := flag.String("issuers", "", "file with the issuers: Fulcio's own configuration, in JSON or YAML")
	logURL := flag.String("ct-log", "", "URL of the certificate-transparency log")
	logKey := flag.String("ct-log-key", "", "file with the log's public key, in PEM")
	flag.Parse()
	time.AfterFunc(lifetime, func() { log.Fatalf("ended after %s", lifetime) })
	log.Fatal(run(*issuers, *logURL, *logKey))
}
