package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"
)

const (
	// audience is whom Fulcio wants a token to be for.
	audience = "sigstore"
	// life is how long a token is good for.
	life = 10 * time.Minute
	// coordinate is the length of a coordinate on P-256, in bytes.
	coordinate = 32
)

// issuers are OpenID Connect issuers that share a key: OpenID Connect Discovery 1.0, RFC 7517, RFC 7519.
type issuers struct {
	origin string
	key    *ecdsa.PrivateKey
}

func newIssuers(origin string) (*issuers, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return &issuers{origin, key}, err
}

func (i *issuers) name(r *http.Request) string { return i.origin + "/" + r.PathValue("issuer") }

func (i *issuers) discovery(r *http.Request, _ struct{}) (any, error) {
	name := i.name(r)
	return map[string]any{
		"issuer": name, "jwks_uri": name + "/keys", "token_endpoint": name + "/token",
		// Nobody ever goes there, but clients want to read it.
		"authorization_endpoint":                name + "/auth",
		"response_types_supported":              []string{"id_token"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{"ES256"},
	}, nil
}

func (i *issuers) keys(*http.Request, struct{}) (any, error) {
	// 4, and then the two coordinates (SEC 1 §2.3.3).
	point, err := i.key.PublicKey.Bytes()
	if err != nil {
		return nil, err
	}
	return map[string]any{"keys": []any{map[string]string{
		"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "1",
		"x": encode(point[1 : 1+coordinate]), "y": encode(point[1+coordinate:]),
	}}}, nil
}

func (i *issuers) token(r *http.Request, claims map[string]any) (any, error) {
	now := time.Now()
	said := map[string]any{
		"iss": i.name(r), "aud": audience, "iat": now.Unix(), "exp": now.Add(life).Unix(),
	}
	for name, value := range claims {
		said[name] = value
	}
	body, err := json.Marshal(said)
	if err != nil {
		return nil, err
	}
	text := encode([]byte(`{"alg":"ES256","kid":"1","typ":"JWT"}`)) + "." + encode(body)
	sum := sha256.Sum256([]byte(text))
	first, second, err := ecdsa.Sign(rand.Reader, i.key, sum[:])
	if err != nil {
		return nil, err
	}
	signature := append(first.FillBytes(make([]byte, coordinate)), second.FillBytes(make([]byte, coordinate))...)
	return map[string]string{"token": text + "." + encode(signature)}, nil
}

func encode(bytes []byte) string { return base64.RawURLEncoding.EncodeToString(bytes) }
