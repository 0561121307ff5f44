package sim

import (
	"embed"
	"fmt"
	"slices"
	"strings"
)

//go:embed profiles/*.json
var profiles embed.FS

// Named returns one of the profiles that come with the package.
func Named(name string) (Profile, error) {
	if !slices.Contains(Names(), name) {
		return Profile{}, fmt.Errorf("no profile %q: want one of %v, or a file", name, Names())
	}
	data, err := profiles.ReadFile("profiles/" + name + ".json")
	if err != nil {
		return Profile{}, fmt.Errorf("profile %q: %w", name, err)
	}
	return ParseProfile(data)
}

// Names of the profiles that come with the package.
func Names() []string {
	entries, err := profiles.ReadDir("profiles")
	if err != nil {
		return nil // cannot be: the folder is part of the program
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(e.Name(), ".json")
	}
	return names
}
