package attach

import (
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// tokenCheck is how often the token's file is looked at. Tokens are renewed
// hours before they expire.
const tokenCheck = time.Second

// TokenFile reads the function's token, again when the file has changed.
type TokenFile struct {
	path string
	last atomic.Pointer[tokenRead]
}

type tokenRead struct {
	at    time.Time
	info  os.FileInfo // nil: there was no file
	value string
}

// NewTokenFile makes a TokenFile; the file need not exist yet.
func NewTokenFile(path string) *TokenFile { return &TokenFile{path: path} }

// Token is the present token, "" if there is none.
func (t *TokenFile) Token() string {
	last := t.last.Load()
	now := time.Now()
	if last != nil && now.Sub(last.at) < tokenCheck {
		return last.value
	}
	next := t.read(last, now)
	t.last.Store(next)
	return next.value
}

func (t *TokenFile) read(last *tokenRead, now time.Time) *tokenRead {
	info, err := os.Stat(t.path)
	if err != nil {
		return &tokenRead{at: now}
	}
	if last != nil && last.info != nil && os.SameFile(info, last.info) &&
		info.ModTime().Equal(last.info.ModTime()) && info.Size() == last.info.Size() {
		return &tokenRead{at: now, info: info, value: last.value}
	}
	text, err := os.ReadFile(t.path)
	if err != nil {
		return &tokenRead{at: now}
	}
	return &tokenRead{at: now, info: info, value: strings.TrimSpace(string(text))}
}
