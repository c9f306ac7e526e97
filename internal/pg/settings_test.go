package pg

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"
)

// selfSigned returns a certificate in PEM.
func selfSigned(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestSettingsReachTheDriver(t *testing.T) {
	t.Setenv("PGPASSWORD", "from the environment")
	c, err := Settings{
		Host: "db.example.com", Port: 6543, Database: `it's a "db"\`, Username: "app user", ApplicationName: "x",
		SSLMode: "disable", ConnectTimeout: 7 * time.Second, MaxConnections: 3,
	}.poolConfig()
	if err != nil {
		t.Fatal(err)
	}
	got := c.ConnConfig
	if got.Host != "db.example.com" || got.Port != 6543 || got.Database != `it's a "db"\` || got.User != "app user" || got.Password != "from the environment" {
		t.Errorf("connection = %s:%d %q %q %q", got.Host, got.Port, got.Database, got.User, got.Password)
	}
	if got.RuntimeParams["application_name"] != "x" || got.ConnectTimeout != 7*time.Second || c.MaxConns != 3 || c.MinConns != 0 {
		t.Errorf("parameters = %v, timeout %s, connections %d to %d", got.RuntimeParams, got.ConnectTimeout, c.MinConns, c.MaxConns)
	}
}

func TestInlinePEMLeavesNoFileBehind(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	settings := Settings{Host: "localhost", SSLMode: "verify-full", SSLRootCert: selfSigned(t)}
	c, err := settings.poolConfig()
	if err != nil {
		t.Fatal(err)
	}
	if c.ConnConfig.TLSConfig == nil || c.ConnConfig.TLSConfig.RootCAs == nil {
		t.Error("the inline certificate is not trusted")
	}
	left, err := os.ReadDir(os.TempDir())
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	settings.SSLRootCert = "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n"
	if err := settings.Validate(); err == nil {
		t.Error("a certificate that cannot be read was accepted")
	}
}

func TestPasswordCommand(t *testing.T) {
	for _, c := range []struct {
		command  []string
		password string
		problem  string
	}{
		{[]string{"printf", `se cret\n\n`}, "se cret", ""},
		{[]string{"true"}, "", "printed no password"},
		{[]string{"sh", "-c", "echo token expired >&2; exit 3"}, "", "token expired"},
		{[]string{"/no/such/command"}, "", "no such file"},
	} {
		password, err := Settings{PasswordCommand: c.command}.runPasswordCommand(t.Context())
		if password != c.password || (err == nil) != (c.problem == "") || (err != nil && !strings.Contains(err.Error(), c.problem)) {
			t.Errorf("%q = %q, %v, want %q, %q", c.command, password, err, c.password, c.problem)
		}
	}
}
