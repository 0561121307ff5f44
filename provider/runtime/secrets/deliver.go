package secrets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/faas-gpu/faas-gpu/internal/durable"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// Reader says who may read the files of a replica.
type Reader struct {
	UID  int // owner of the files; -1: whoever runs this program
	Mode fs.FileMode
}

// Deliver copies the secrets that a deployment names to a folder that is there.
func (s *Store) Deliver(d *runtime.Deployment, dir string, reader Reader) error {
	for _, name := range d.Request.Secrets {
		file, err := s.file(d.ID.Namespace, name)
		if err != nil {
			return err
		}
		value, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("there is no secret %s any more", name)
		}
		if err != nil {
			return err
		}
		if err := write(dir, name, value, reader); err != nil {
			return err
		}
	}
	return nil
}

// DeliverToken puts a token in a replica's folder. One that is there is replaced
// whole: whoever reads it meanwhile reads one of the two.
func DeliverToken(dir string, value []byte, reader Reader) error {
	return write(dir, runtime.TokenFile, value, reader)
}

// write replaces a file for good, or does nothing.
func write(dir, name string, value []byte, reader Reader) error {
	tmp, err := writeNew(dir, value, reader)
	if err != nil {
		return err
	}
	return durable.Rename(tmp, filepath.Join(dir, name))
}

// writeNew writes to a new file in dir that may be moved to where it belongs.
func writeNew(dir string, value []byte, reader Reader) (string, error) {
	return durable.Temp(dir, newPrefix+"*", value, func(f *os.File) error {
		if reader.UID >= 0 {
			if err := f.Chown(reader.UID, -1); err != nil {
				return err
			}
		}
		return f.Chmod(reader.Mode)
	})
}
