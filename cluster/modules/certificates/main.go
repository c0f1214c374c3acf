// Certificates makes the keys and certificates of one development cluster: a CA, a server certificate, client
// certificates and the key pair that signs service account tokens. All are ECDSA P-256, which takes milliseconds.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const lifetime = 10 * 365 * 24 * time.Hour

type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

func main() {
	out := flag.String("out", "", "folder to write to")
	var hosts, clients list
	flag.Var(&hosts, "host", "name or address in the server certificate; repeat")
	flag.Var(&clients, "client", "FILE=COMMON NAME/ORGANISATION, the organisation may be empty; repeat")
	flag.Parse()
	if *out == "" {
		fail(fmt.Errorf("-out is missing: name the folder to write to"))
	}
	fail(os.MkdirAll(*out, 0o700))
	m := maker{out: *out}
	m.authority()
	m.server(hosts)
	for _, client := range clients {
		file, subject, _ := strings.Cut(client, "=")
		name, organisation, _ := strings.Cut(subject, "/")
		m.client(file, name, organisation)
	}
	m.tokenKeys()
}

type maker struct {
	out    string
	ca     *x509.Certificate
	caKey  *ecdsa.PrivateKey
	serial int64
}

func (m *maker) authority() {
	m.caKey = key()
	m.ca = &x509.Certificate{
		Subject: pkix.Name{CommonName: "penstock-cluster"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature | x509.KeyUsageCRLSign,
	}
	// Python 3.13 refuses what this authority signs unless it says by which key, and it can only say what it knows here.
	digest := sha256.Sum256(must(x509.MarshalPKIXPublicKey(&m.caKey.PublicKey)))
	m.ca.SubjectKeyId = digest[:20]
	m.sign("ca", m.ca, m.caKey)
}

func (m *maker) server(hosts []string) {
	certificate := &x509.Certificate{
		Subject:  pkix.Name{CommonName: "penstock-cluster-server"},
		KeyUsage: x509.KeyUsageDigitalSignature,
		// etcd's peer and gateway connections use the server's certificate as a client too.
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, host := range hosts {
		if address := net.ParseIP(host); address != nil {
			certificate.IPAddresses = append(certificate.IPAddresses, address)
		} else {
			certificate.DNSNames = append(certificate.DNSNames, host)
		}
	}
	m.sign("server", certificate, key())
}

func (m *maker) client(file, name, organisation string) {
	certificate := &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if organisation != "" {
		certificate.Subject.Organization = []string{organisation}
	}
	m.sign(file, certificate, key())
}

func (m *maker) tokenKeys() {
	private := key()
	m.write("service-account.key", "EC PRIVATE KEY", must(x509.MarshalECPrivateKey(private)))
	m.write("service-account.pub", "PUBLIC KEY", must(x509.MarshalPKIXPublicKey(&private.PublicKey)))
}

func (m *maker) sign(file string, certificate *x509.Certificate, private *ecdsa.PrivateKey) {
	m.serial++
	// A CA made anew must not repeat the numbers of the one before: clients may know both.
	certificate.SerialNumber = big.NewInt(time.Now().UnixNano() + m.serial)
	certificate.NotBefore = time.Now().Add(-time.Hour)
	certificate.NotAfter = time.Now().Add(lifetime)
	signed := must(x509.CreateCertificate(rand.Reader, certificate, m.ca, &private.PublicKey, m.caKey))
	m.write(file+".crt", "CERTIFICATE", signed)
	m.write(file+".key", "EC PRIVATE KEY", must(x509.MarshalECPrivateKey(private)))
}

func (m *maker) write(file, kind string, bytes []byte) {
	encoded := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes})
	fail(os.WriteFile(filepath.Join(m.out, file), encoded, 0o600))
}

func key() *ecdsa.PrivateKey {
	return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
}

func must[T any](value T, err error) T {
	fail(err)
	return value
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "certificates:", err)
		os.Exit(1)
	}
}
