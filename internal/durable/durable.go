// Package durable writes files that are there whole or not at all, also after the
// power has failed.
package durable

import (
	"errors"
	"os"
	"path/filepath"
)

// Temp writes data to a new file in dir, named after pattern as by os.CreateTemp, and
// returns its name: of a file that is complete on disk and may be moved to where it
// belongs. Its mode is 0600, unless one of finish, which are called before the file is
// closed, changes that. What fails leaves no file.
func Temp(dir, pattern string, data []byte, finish ...func(*os.File) error) (string, error) {
	f, err := os.CreateTemp(dir, pattern)
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	for _, do := range finish {
		if err == nil {
			err = do(f)
		}
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// Rename moves the file tmp to path in place of what is there, for good. If it cannot,
// tmp is removed.
func Rename(tmp, path string) error {
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return Sync(filepath.Dir(path))
}

// Sync makes a file, or the names in a folder, durable.
func Sync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
