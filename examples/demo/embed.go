// Package demo holds the configuration of the demo, one file for each stage of the change.
package demo

import "embed"

// Files are the configuration files. Their names are in the order in which the stages are applied.
//
//go:embed *.tf
var Files embed.FS
