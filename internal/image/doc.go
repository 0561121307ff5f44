// Package image keeps container images in a folder, where one program builds
// them and another runs them without a container daemon between. The folder is
// an OCI image layout, so that common tools can read it and write to it; a tag
// is the annotation org.opencontainers.image.ref.name of a manifest.
//
// A layer is outside input: whatever its archive holds, nothing is written, and
// no link is left that leads, outside the folder it is unpacked into.
package image

import "errors"

var (
	// ErrNotFound: no image has this tag or digest.
	ErrNotFound = errors.New("image not found")
	// ErrBad: an image, its name or one of its layers is not as it should be.
	ErrBad = errors.New("bad image")
)
