package provider_test

import (
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/stagedpg/terraform-provider-postgres/internal/provider"
)

// server is a provider as a Terraform speaks to it that has identities, list blocks and actions.
type server interface {
	tfprotov6.ProviderServerWithListResource //nolint:staticcheck // until its methods are those of ProviderServer
	tfprotov6.ProviderServerWithActions      //nolint:staticcheck // as above
}

// protocol is a provider that is configured for the test's database, without a Terraform.
type protocol struct {
	t       *testing.T
	server  server
	schemas *tfprotov6.GetProviderSchemaResponse
}

func newProtocol(t *testing.T, connString string) *protocol {
	t.Helper()
	p := &protocol{t: t, server: providerserver.NewProtocol6(provider.New("test")())().(server)}
	var err error
	if p.schemas, err = p.server.GetProviderSchema(t.Context(), &tfprotov6.GetProviderSchemaRequest{}); err != nil {
		t.Fatal(err)
	}
	config := p.value(p.schemas.Provider.ValueType(), map[string]string{"connection_string": connString, "lock_retry_for": "5s"})
	configured, err := p.server.ConfigureProvider(t.Context(), &tfprotov6.ConfigureProviderRequest{Config: config})
	if err != nil || len(configured.Diagnostics) > 0 {
		t.Fatalf("configure: %v, %v", err, configured)
	}
	return p
}

// value is an object of that type, in which what is left out is null.
func (p *protocol) value(of tftypes.Type, given map[string]string) *tfprotov6.DynamicValue {
	p.t.Helper()
	attributes := make(map[string]tftypes.Value)
	for name, kind := range of.(tftypes.Object).AttributeTypes {
		attributes[name] = tftypes.NewValue(kind, nil)
		if text, ok := given[name]; ok {
			attributes[name] = tftypes.NewValue(kind, text)
		}
	}
	value, err := tfprotov6.NewDynamicValue(of, tftypes.NewValue(of, attributes))
	if err != nil {
		p.t.Fatal(err)
	}
	return &value
}
