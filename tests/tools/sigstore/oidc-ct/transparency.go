package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"net/http"
	"time"
)

// poison marks a precertificate, so that nobody takes it for a certificate (RFC 6962 §3.1).
var poison = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 3}

const (
	// extensionsTag is the tag of a certificate's extensions (RFC 5280 §4.1).
	extensionsTag = 3
	// What the numbers in an SCT stand for (RFC 6962 §3.2, RFC 5246 §7.4.1.4.1).
	sctV1, certificateTimestamp = 0, 0
	precertEntry                = 1
	hashSHA256, signatureECDSA  = 4, 3
)

// transparency is a log that signs a timestamp for every precertificate, and keeps none.
type transparency struct {
	key *ecdsa.PrivateKey
	id  [sha256.Size]byte
	pem []byte
}

func newTransparency() (*transparency, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	return &transparency{key, sha256.Sum256(public), block}, nil
}

// chain is a precertificate and those above it, in DER.
type chain struct {
	Chain [][]byte `json:"chain"`
}

// timestamp is a signed certificate timestamp.
type timestamp struct {
	Version    int    `json:"sct_version"`
	ID         []byte `json:"id"`
	Timestamp  int64  `json:"timestamp"`
	Extensions string `json:"extensions"`
	Signature  []byte `json:"signature"`
}

func (t *transparency) addPreChain(_ *http.Request, sent chain) (any, error) {
	if len(sent.Chain) < 2 {
		return nil, errors.New("a precertificate and its issuer are wanted")
	}
	precertificate, err := x509.ParseCertificate(sent.Chain[0])
	if err != nil {
		return nil, err
	}
	issuer, err := x509.ParseCertificate(sent.Chain[1])
	if err != nil {
		return nil, err
	}
	body, err := withoutPoison(precertificate.RawTBSCertificate)
	if err != nil {
		return nil, err
	}
	now := time.Now().UnixMilli()

	// What is signed (RFC 6962 §3.2).
	text := []byte{sctV1, certificateTimestamp}
	text = binary.BigEndian.AppendUint64(text, uint64(now))
	text = binary.BigEndian.AppendUint16(text, precertEntry)
	issuerKey := sha256.Sum256(issuer.RawSubjectPublicKeyInfo)
	text = append(text, issuerKey[:]...)
	text = append(text, byte(len(body)>>16), byte(len(body)>>8), byte(len(body)))
	text = append(text, body...)
	text = binary.BigEndian.AppendUint16(text, 0)

	sum := sha256.Sum256(text)
	signature, err := ecdsa.SignASN1(rand.Reader, t.key, sum[:])
	if err != nil {
		return nil, err
	}
	signed := []byte{hashSHA256, signatureECDSA}
	signed = binary.BigEndian.AppendUint16(signed, uint16(len(signature)))
	return timestamp{sctV1, t.id[:], now, "", append(signed, signature...)}, nil
}

// withoutPoison takes the poison out of a precertificate's TBSCertificate: what is left is the
// certificate's own, but for the timestamp that this log is about to give.
func withoutPoison(tbs []byte) ([]byte, error) {
	var fields []asn1.RawValue
	if _, err := asn1.Unmarshal(tbs, &fields); err != nil {
		return nil, err
	}
	if len(fields) == 0 {
		return nil, errors.New("an empty certificate")
	}
	last := &fields[len(fields)-1]
	if last.Class != asn1.ClassContextSpecific || last.Tag != extensionsTag {
		return nil, errors.New("a certificate without extensions")
	}
	var extensions, kept []asn1.RawValue
	if _, err := asn1.Unmarshal(last.Bytes, &extensions); err != nil {
		return nil, err
	}
	for _, extension := range extensions {
		var id asn1.ObjectIdentifier
		if _, err := asn1.Unmarshal(extension.Bytes, &id); err != nil {
			return nil, err
		}
		if !id.Equal(poison) {
			kept = append(kept, extension)
		}
	}
	if len(kept) == len(extensions) {
		return nil, errors.New("a certificate without poison is no precertificate")
	}
	inner, err := asn1.Marshal(kept)
	if err != nil {
		return nil, err
	}
	*last = asn1.RawValue{Class: last.Class, Tag: last.Tag, IsCompound: true, Bytes: inner}
	return asn1.Marshal(fields)
}
