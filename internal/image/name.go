package image

import (
	"fmt"
	"strings"
)

const maxName = 255

// Normalize gives an image's name the tag "latest" if it has none.
func Normalize(name string) (string, error) {
	if name == "" || len(name) > maxName {
		return "", fmt.Errorf("%w: a name has 1 to %d characters, this one %d", ErrBad, maxName, len(name))
	}
	for i := range len(name) {
		if c := name[i]; !isNameByte(c) {
			return "", fmt.Errorf("%w: the name %q has the character %q; allowed are letters, digits and . _ - / : @", ErrBad, name, c)
		}
	}
	if strings.Contains(name, "@") {
		return name, nil
	}
	// A colon before the last slash belongs to the port of a registry.
	base := name[strings.LastIndexByte(name, '/')+1:]
	repository, tag, tagged := strings.Cut(base, ":")
	switch {
	case repository == "":
		return "", fmt.Errorf("%w: the name %q has an empty last part", ErrBad, name)
	case !tagged:
		return name + ":latest", nil
	case tag == "" || strings.Contains(tag, ":"):
		return "", fmt.Errorf("%w: the name %q has no tag after its colon", ErrBad, name)
	}
	return name, nil
}

func isNameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("._-/:@", c) >= 0
}
