// Package demo holds the configuration of the demo, one file for each step of the change.
package demo

import "embed"

// Files are the configuration files. Their names are in the order in which the steps are applied.
//
//go:embed *.tf *.tfvars
var Files embed.FS
