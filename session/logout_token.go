package session

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
)

// logoutTokenPurpose keeps the token from being taken for anything else that
// is ever computed under a credential.
const logoutTokenPurpose = "caddy-logout logout token v1"

// LogoutToken returns the logout token of a credential: an HMAC-SHA-256 of a
// fixed string under the credential, cut to 160 bits, and behind it the key of
// the session. There is nothing to store and nothing to configure, every node
// computes the same, and another site cannot know it. The credential follows
// from neither part, so the token may stand in a link; without the credential it
// ends nothing. The key says which session the token is of when the credential
// is gone: when another tab has used the same link before.
func LogoutToken(c Credential) string { return LogoutTokenMAC(c) + EncodeTokenKey(KeyOf(c.value)) }

// LogoutTokenMAC is the first part of a token: the whole token in versions that
// did not write the key behind it.
func LogoutTokenMAC(c Credential) string {
	return LogoutTokenPrefix + TokenFor(c, logoutTokenPurpose)
}

// EncodeTokenKey writes a key as letters and digits.
func EncodeTokenKey(key Key) string { return tokenEncoding.EncodeToString(key[:]) }

// TokenFor computes the token of a credential for one purpose.
func TokenFor(c Credential, purpose string) string {
	mac := hmac.New(sha256.New, []byte(c.value))
	mac.Write([]byte(purpose))
	return tokenEncoding.EncodeToString(mac.Sum(nil)[:20])
}

// TokenFit is the relation of a logout token to a credential.
type TokenFit uint8

// The relations of a logout token to a credential.
const (
	fitsNot   TokenFit = iota // the token of another credential, or of none
	Fits                      // the credential's token
	FitsMixed                 // the credential's HMAC beside the key of another session
)

// FitLogoutToken compares in constant time. Pages that were made before an
// upgrade, and nodes that are still to be upgraded, hold tokens without a key: to
// take them costs nothing, and a session may live for years.
func FitLogoutToken(c Credential, token string) TokenFit {
	mac, key := LogoutTokenMAC(c), ""
	if len(token) > len(mac) {
		token, key = token[:len(mac)], token[len(mac):]
	}
	if subtle.ConstantTimeCompare([]byte(mac), []byte(token)) != 1 {
		return fitsNot
	}
	if key != "" && subtle.ConstantTimeCompare([]byte(EncodeTokenKey(KeyOf(c.value))), []byte(key)) != 1 {
		return FitsMixed
	}
	return Fits
}

// LogoutTokenMatches reports whether the token is that of the credential.
func LogoutTokenMatches(c Credential, token string) bool { return FitLogoutToken(c, token) == Fits }

// KeyOfLogoutToken reads the key of the session that a token names. It proves
// nothing: anyone can write a key into a token.
func KeyOfLogoutToken(token string) (Key, bool) {
	const macLength = len(LogoutTokenPrefix) + 32
	if len(token) <= macLength {
		return Key{}, false
	}
	text := token[macLength:]
	raw, err := tokenEncoding.DecodeString(text)
	if err != nil || len(raw) != len(Key{}) || EncodeTokenKey(Key(raw)) != text {
		return Key{}, false
	}
	return Key(raw), true
}
