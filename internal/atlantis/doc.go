// Package atlantis does to the output of Terraform what Atlantis does before it posts it to a pull request, and runs the
// commands that Atlantis runs. Tests use it to see the provider where reviewers meet it. It follows version 0.47 of Atlantis.
package atlantis
