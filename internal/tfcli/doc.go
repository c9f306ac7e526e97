// Package tfcli finds a Terraform or OpenTofu command and drives it against a provider binary built from this
// tree. The acceptance tests and the demo need what in-process test harnesses hide: the real command's output, signals,
// and the provider as a process of its own that can be killed.
package tfcli
