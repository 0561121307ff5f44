package main

import (
	"encoding/json"
	"os"
)

// writeJSON writes a value to a file, for people and programs.
func writeJSON(file string, value any) error {
	data, err := json.MarshalIndent(value, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}
