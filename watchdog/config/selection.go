package config

import "strings"

// Selection names some of a function's models.
type Selection struct {
	All   bool
	Names []string
}

// Has reports whether the model of that name is selected.
func (s Selection) Has(name string) bool {
	if s.All {
		return true
	}
	for _, n := range s.Names {
		if n == name {
			return true
		}
	}
	return false
}

// parseSelection reads "all" or names with commas between. The words of a
// switch are understood too, since preload=true is what people write first.
func parseSelection(v string) Selection {
	switch v {
	case "", "false", "0":
		return Selection{}
	case "all", "true", "1":
		return Selection{All: true}
	}
	var s Selection
	for name := range strings.SplitSeq(v, ",") {
		if name = strings.TrimSpace(name); name != "" {
			s.Names = append(s.Names, name)
		}
	}
	return s
}
