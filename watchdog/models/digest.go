package models

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// digestPrefix stands before the hexadecimal digits.
const digestPrefix = "sha256:"

// built is one entry of digests.json, whose keys are Model.Relative. It holds no
// times: those change when an image is unpacked.
type built struct {
	Digest string `json:"digest"`
	Size   int64  `json:"size_bytes"`
}

// WriteDigests computes the digest of every model and writes digests.json, for
// Digests to read. It fails if the folder has problems. A folder without models
// is left as it is.
func WriteDigests(ctx context.Context, dir string) (*Folder, error) {
	f, err := Read(dir)
	if err != nil {
		return nil, err
	}
	if err := f.Err(); err != nil {
		return f, err
	}
	if len(f.Models) == 0 {
		return f, nil
	}
	entries := make(map[string]built, len(f.Models))
	for i := range f.Models {
		m := &f.Models[i]
		if m.Offer.Digest, err = hashFile(ctx, m.Path); err != nil {
			return f, err
		}
		entries[m.Relative] = built{m.Offer.Digest, m.Offer.Size}
	}
	return f, writeJSON(filepath.Join(dir, digestsName), entries)
}

// Digests fills in the digest of every model: from digests.json where the size
// agrees, else from the cache at path, else by reading the file, which is then
// remembered there. A wrong digest does no harm: the cache manager checks what
// it is given. Models that cannot be read become problems.
func (f *Folder) Digests(ctx context.Context, cachePath string) {
	var atBuild map[string]built
	if err := readJSON(filepath.Join(f.Dir, digestsName), &atBuild); err != nil {
		f.warn("%s is ignored: %v", digestsName, err)
	}
	cache := make(map[string]string)
	// What is wrong with a cache is not worth a word: it is made again.
	_ = readJSON(cachePath, &cache)
	fresh := make(map[string]string)
	usable := f.Models[:0]
	for _, m := range f.Models {
		if b := atBuild[m.Relative]; b.Size == m.Offer.Size && validDigest(b.Digest) {
			m.Offer.Digest = b.Digest
			usable = append(usable, m)
			continue
		}
		key, digest, err := f.cachedDigest(ctx, m, cache)
		if err != nil {
			f.fail("%s: %w", m.Relative, err)
			continue
		}
		fresh[key] = digest
		m.Offer.Digest = digest
		usable = append(usable, m)
	}
	f.Models = usable
	if len(fresh) > 0 {
		if err := writeJSON(cachePath, fresh); err != nil {
			f.warn("digests are not remembered: %v", err)
		}
	}
}

func (f *Folder) cachedDigest(ctx context.Context, m Model, cache map[string]string) (key, digest string, err error) {
	info, err := os.Stat(m.Path)
	if err != nil {
		return "", "", err
	}
	key = fileKey(info)
	if digest = cache[key]; validDigest(digest) {
		return key, digest, nil
	}
	digest, err = hashFile(ctx, m.Path)
	return key, digest, err
}

// fileKey changes whenever a file's content may have.
func fileKey(info fs.FileInfo) string {
	var device, inode uint64
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		device, inode = uint64(st.Dev), st.Ino
	}
	return fmt.Sprintf("%d:%d:%d:%d", device, inode, info.Size(), info.ModTime().UnixNano())
}

func validDigest(d string) bool {
	digits, ok := strings.CutPrefix(d, digestPrefix)
	if !ok || len(digits) != 2*sha256.Size || strings.ToLower(digits) != digits {
		return false
	}
	_, err := hex.DecodeString(digits)
	return err == nil
}

func hashFile(ctx context.Context, path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	h := sha256.New()
	buf := make([]byte, 256<<10)
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, err := file.Read(buf)
		h.Write(buf[:n])
		if errors.Is(err, io.EOF) {
			return digestPrefix + hex.EncodeToString(h.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
	}
}

// readJSON reads a file that need not exist.
func readJSON(path string, v any) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

// writeJSON replaces a file as a whole or not at all.
func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".digests-*")
	if err != nil {
		return err
	}
	_, err = temp.Write(append(text, '\n'))
	err = errors.Join(err, temp.Chmod(0o644), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		os.Remove(temp.Name())
	}
	return err
}
