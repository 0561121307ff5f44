package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/stream"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// File is a file of an image to be built.
type File struct {
	Path   string // in the image
	Mode   fs.FileMode
	Source string // the file on this machine that holds the content; "": Data is the content
	Data   []byte
}

// Build makes an image of one layer with these files. They are read when the
// image is stored, which can be done once. The same files give the same digest.
func Build(config v1.Config, files ...File) (v1.Image, error) {
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	base, err := mutate.Config(base, config)
	if err != nil {
		return nil, err
	}
	// Weights do not shrink, and a local image is never sent.
	layer := stream.NewLayer(&archiveReader{files: files}, stream.WithCompressionLevel(gzip.NoCompression), stream.WithMediaType(types.OCILayer))
	return mutate.AppendLayers(base, layer)
}

// archiveReader reads files as one archive.
type archiveReader struct {
	files []File
	pipe  *io.PipeReader // nil until the first Read
}

func (a *archiveReader) Read(p []byte) (int, error) {
	if a.pipe == nil {
		read, write := io.Pipe()
		a.pipe = read
		go func() { write.CloseWithError(writeArchive(write, a.files)) }()
	}
	return a.pipe.Read(p)
}

func (a *archiveReader) Close() error {
	if a.pipe == nil {
		return nil
	}
	return a.pipe.Close()
}

func writeArchive(w io.Writer, files []File) error {
	archive := tar.NewWriter(w)
	for _, f := range files {
		if err := writeEntry(archive, f); err != nil {
			return fmt.Errorf("add %s to an image: %w", f.Path, err)
		}
	}
	return archive.Close()
}

func writeEntry(archive *tar.Writer, f File) error {
	var content io.Reader = bytes.NewReader(f.Data)
	size := int64(len(f.Data))
	if f.Source != "" {
		src, err := os.Open(f.Source)
		if err != nil {
			return err
		}
		defer src.Close()
		info, err := src.Stat()
		if err != nil {
			return err
		}
		content, size = src, info.Size()
	}
	name := path.Join("/", f.Path)[1:]
	if name == "" {
		return errors.New("it has no path")
	}
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: int64(f.Mode.Perm()), Size: size, Format: tar.FormatPAX}
	if err := archive.WriteHeader(h); err != nil {
		return err
	}
	_, err := io.Copy(archive, content)
	return err
}
