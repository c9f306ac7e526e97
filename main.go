// Command terraform-provider-postgres is a Terraform provider for staged, zero-downtime column changes on live PostgreSQL
// tables. Terraform starts it; by hand it only tells its version or waits for a debugger.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"

	"github.com/stagedpg/terraform-provider-postgres/internal/provider"
)

// Set by the linker in a release.
var (
	version = "dev"
	commit  = "unknown"
)

func main() {
	debug := flag.Bool("debug", false, "wait for a debugger: print the value of TF_REATTACH_PROVIDERS and serve until interrupted")
	showVersion := flag.Bool("version", false, "print the version and exit")
	flag.Parse()

	if *showVersion {
		fmt.Printf("terraform-provider-postgres %s (%s)\n", version, commit)
		return
	}

	err := providerserver.Serve(context.Background(), provider.New(version), providerserver.ServeOpts{
		Address:         provider.Address,
		Debug:           *debug,
		ProtocolVersion: 6, // nested attributes need 6
	})
	if err != nil {
		log.Fatal(err)
	}
}
