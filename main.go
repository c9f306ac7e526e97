// Command terraform-provider-postgres is a Terraform provider for staged, zero-downtime column changes on live PostgreSQL
// tables. Terraform starts it; by hand it shows how running backfills go, tells its version or waits for a debugger.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"

	"github.com/stagedpg/terraform-provider-postgres/internal/provider"
	"github.com/stagedpg/terraform-provider-postgres/internal/watch"
)

// Set by the linker in a release.
var (
	version = "dev"
	commit  = "unknown"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "watch" {
		os.Exit(watch.Main(context.Background(), os.Args[2:], os.Stdout, os.Stderr))
	}
	debug := flag.Bool("debug", false, "wait for a debugger: print the value of TF_REATTACH_PROVIDERS and serve until interrupted")
	showVersion := flag.Bool("version", false, "print the version and exit")
	flag.Usage = func() {
		_, _ = fmt.Fprint(flag.CommandLine.Output(), "Terraform starts this command without arguments. By hand:\n\n"+
			"  terraform-provider-postgres watch -h   how running backfills go\n\nFlags:\n")
		flag.PrintDefaults()
	}
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
