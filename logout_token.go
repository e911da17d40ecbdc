// This file makes and checks the token that a logout URL carries.

package caddylogout

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
)

// logoutTokenPurpose keeps the token from being taken for anything else that
// is ever computed under a credential.
const logoutTokenPurpose = "caddy-logout logout token v1"

// logoutToken returns the logout token of a credential: an HMAC-SHA-256 of a
// fixed string under the credential, cut to 160 bits, and behind it the key of
// the session. There is nothing to store and nothing to configure, every node
// computes the same, and another site cannot know it. The credential follows
// from neither part, so the token may stand in a link; without the credential it
// ends nothing. The key says which session the token is of when the credential
// is gone: when another tab has used the same link before.
func logoutToken(c Credential) string { return logoutTokenMAC(c) + encodeTokenKey(KeyOf(c.value)) }

// logoutTokenMAC is the first part of a token: the whole token in versions that
// did not write the key behind it.
func logoutTokenMAC(c Credential) string {
	return logoutTokenPrefix + tokenFor(c, logoutTokenPurpose)
}

// encodeTokenKey writes a key as letters and digits.
func encodeTokenKey(key Key) string { return tokenEncoding.EncodeToString(key[:]) }

// logoutToken returns the logout token of the credential of a live session. It is
// computed once for as long as the session is in memory.
func (res *authResult) logoutToken() string {
	if token := res.known.logoutToken.Load(); token != nil {
		return *token
	}
	token := logoutToken(res.credential)
	res.known.logoutToken.Store(&token)
	return token
}

// tokenFor computes the token of a credential for one purpose.
func tokenFor(c Credential, purpose string) string {
	mac := hmac.New(sha256.New, []byte(c.value))
	mac.Write([]byte(purpose))
	return tokenEncoding.EncodeToString(mac.Sum(nil)[:20])
}

// tokenFit says what a logout token is to a credential.
type tokenFit uint8

const (
	fitsNot   tokenFit = iota // the token of another credential, or of none
	fits                      // the credential's token
	fitsMixed                 // the credential's HMAC beside the key of another session
)

// fitLogoutToken compares in constant time. Pages that were made before an
// upgrade, and nodes that are still to be upgraded, hold tokens without a key: to
// take them costs nothing, and a session may live for years.
func fitLogoutToken(c Credential, token string) tokenFit {
	mac, key := logoutTokenMAC(c), ""
	if len(token) > len(mac) {
		token, key = token[:len(mac)], token[len(mac):]
	}
	if subtle.ConstantTimeCompare([]byte(mac), []byte(token)) != 1 {
		return fitsNot
	}
	if key != "" && subtle.ConstantTimeCompare([]byte(encodeTokenKey(KeyOf(c.value))), []byte(key)) != 1 {
		return fitsMixed
	}
	return fits
}

// logoutTokenMatches reports whether the token is that of the credential.
func logoutTokenMatches(c Credential, token string) bool { return fitLogoutToken(c, token) == fits }

// keyOfLogoutToken reads which session a token says it is of. Nothing proves it:
// anybody can write a key behind anything.
func keyOfLogoutToken(token string) (Key, bool) {
	const macLength = len(logoutTokenPrefix) + 32
	if len(token) <= macLength {
		return Key{}, false
	}
	text := token[macLength:]
	raw, err := tokenEncoding.DecodeString(text)
	if err != nil || len(raw) != len(Key{}) || encodeTokenKey(Key(raw)) != text {
		return Key{}, false
	}
	return Key(raw), true
}
