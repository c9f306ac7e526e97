// Command schemadump prints the provider's schema in the format of `terraform providers schema -json`. The documentation
// is generated from it, so that it is the same on every machine: it needs no Terraform, and a Terraform that is too old
// for actions or identities cannot leave them out.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"

	"github.com/stagedpg/terraform-provider-postgres/internal/provider"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("schemadump: ")

	schemas, err := dump(context.Background(), providerserver.NewProtocol6(provider.New("docs")())())
	if err != nil {
		log.Fatal(err)
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(schemas); err != nil {
		log.Fatal(err)
	}
}
