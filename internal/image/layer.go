package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A layer hides what the layers below it hold by entries with these names.
const (
	whiteout = ".wh."         // before a name: that name is gone
	opaque   = ".wh..wh..opq" // in a folder: all that it held before is gone
)

// unpacker applies the layers of one image, lowest first, to a folder.
type unpacker struct {
	root    *os.Root
	bytes   int64 // that may still be written
	entries int   // that may still be made
	made    map[string]bool
}

// apply adds one layer, an archive without compression.
func (u *unpacker) apply(layer io.Reader) error {
	u.made = map[string]bool{}
	for archive := tar.NewReader(layer); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: archive: %w", ErrBad, err)
		}
		if u.entries--; u.entries < 0 {
			return fmt.Errorf("%w: more files than an image may have", ErrBad)
		}
		err = u.entry(h, archive)
		switch {
		case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
			return fmt.Errorf("entry %q: %w", h.Name, err) // not the image's fault
		case err != nil:
			return fmt.Errorf("%w: entry %q: %w", ErrBad, h.Name, err)
		}
	}
}

func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	name, err := entryName(h.Name)
	if err != nil || name == "." {
		return err
	}
	dir, err := resolve(u.root, path.Dir(name), true)
	if err != nil {
		return err
	}
	base := path.Base(name)
	if hidden, ok := strings.CutPrefix(base, whiteout); ok {
		return u.hide(dir, base, hidden)
	}
	name = path.Join(dir, base)
	defer u.mark(name)
	switch h.Typeflag {
	case tar.TypeDir:
		return u.dir(name, h.FileInfo().Mode())
	case tar.TypeReg:
		return u.file(name, h, content)
	case tar.TypeSymlink:
		return u.symlink(dir, name, h.Linkname)
	case tar.TypeLink:
		return u.hardlink(name, h.Linkname)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo, tar.TypeXGlobalHeader:
		// A process has the devices of the machine that it runs on.
		return nil
	}
	return fmt.Errorf("type %q is not known", h.Typeflag)
}

// entryName is a path below the image's root, "." for the root itself.
func entryName(name string) (string, error) {
	if strings.ContainsRune(name, 0) {
		return "", errors.New("the name holds a zero byte")
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", errors.New("the name leaves the image")
		}
	}
	return path.Join(".", name), nil
}

// mark notes that name, and so the folders above it, came with this layer.
func (u *unpacker) mark(name string) {
	for ; name != "." && !u.made[name]; name = path.Dir(name) {
		u.made[name] = true
	}
}

func (u *unpacker) hide(dir, base, hidden string) error {
	if base == opaque {
		return u.hideBelow(dir)
	}
	if hidden == "" || hidden == "." || hidden == ".." {
		return errors.New("a whiteout without a name")
	}
	return u.root.RemoveAll(path.Join(dir, hidden))
}

// hideBelow empties a folder of what layers before this one put there.
func (u *unpacker) hideBelow(dir string) error {
	entries, err := fs.ReadDir(u.root.FS(), dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		switch {
		case !u.made[name]:
			err = u.root.RemoveAll(name)
		case e.IsDir():
			err = u.hideBelow(name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacker) dir(name string, mode fs.FileMode) error {
	info, err := u.root.Lstat(name)
	if err != nil || !info.IsDir() {
		if err := u.root.RemoveAll(name); err != nil {
			return err
		}
		if err := u.root.Mkdir(name, 0o755); err != nil {
			return err
		}
	}
	// Whoever unpacks must be able to go on in it, and to remove it.
	return u.root.Chmod(name, mode.Perm()|0o700)
}

// file keeps the permissions but not the bits that lend a user's rights: an
// image gets no rights on the machine by being unpacked there.
func (u *unpacker) file(name string, h *tar.Header, content io.Reader) error {
	if u.bytes -= h.Size; u.bytes < 0 {
		return errors.New("the image is larger than an image may be")
	}
	if err := u.root.RemoveAll(name); err != nil {
		return err
	}
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Chmod(h.FileInfo().Mode().Perm()), f.Close())
}

// symlink makes a link that means on this machine what it means in a container,
// whose root is the image: the link is relative, and as name's folder is the
// real one, it climbs no higher than the root.
func (u *unpacker) symlink(dir, name, target string) error {
	if target == "" || strings.ContainsRune(target, 0) {
		return errors.New("a symbolic link to nothing")
	}
	from := "/" + dir
	if !path.IsAbs(target) {
		target = path.Join(from, target)
	}
	relative, err := filepath.Rel(from, path.Clean(target))
	if err != nil {
		return err
	}
	if err := u.root.RemoveAll(name); err != nil {
		return err
	}
	return u.root.Symlink(relative, name)
}

// hardlink links to regular files only: a symbolic link would mean another place
// in another folder.
func (u *unpacker) hardlink(name, target string) error {
	target, err := entryName(target)
	if err != nil {
		return err
	}
	dir, err := resolve(u.root, path.Dir(target), false)
	if err != nil {
		return err
	}
	target = path.Join(dir, path.Base(target))
	info, err := u.root.Lstat(target)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("a hard link to %s, which is no file", target)
	case target == name:
		return nil
	}
	if err := u.root.RemoveAll(name); err != nil {
		return err
	}
	return u.root.Link(target, name)
}
