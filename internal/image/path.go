package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// maxLinks is how many symbolic links one path may lead through, as in Linux.
const maxLinks = 40

// Lookup finds a path of an image in the folder where the image is unpacked, as
// a process of a container would: from the image's root, which ".." and absolute
// links do not leave. The result exists and has no symbolic links below root.
func Lookup(root, name string) (string, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return "", err
	}
	defer r.Close()
	found, err := resolve(r, name, false)
	if err != nil {
		return "", err
	}
	return filepath.Join(root, found), nil
}

// resolve follows every link of name, a path in the image, and returns the path
// below root where it really is. With mkdir it makes folders that are missing,
// and the result is a folder.
func resolve(root *os.Root, name string, mkdir bool) (string, error) {
	at, rest, links := ".", strings.Split(name, "/"), 0
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, part)
		info, err := root.Lstat(next)
		if mkdir && errors.Is(err, fs.ErrNotExist) {
			if err := root.Mkdir(next, 0o755); err != nil {
				return "", err
			}
			at = next
			continue
		}
		if err != nil {
			return "", err
		}
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			if links++; links > maxLinks {
				return "", fmt.Errorf("%s: too many symbolic links", name)
			}
			target, err := root.Readlink(next)
			if err != nil {
				return "", err
			}
			if path.IsAbs(target) {
				at = "."
			}
			rest = append(strings.Split(target, "/"), rest...)
		case !info.IsDir() && (mkdir || len(rest) > 0):
			return "", fmt.Errorf("%s: %s is not a folder", name, next)
		default:
			at = next
		}
	}
	return at, nil
}
