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
// fixed string under the credential, cut to 160 bits. There is nothing to store
// and nothing to configure, every node computes the same, and another site
// cannot know it. The credential does not follow from it, so it may stand in a
// link; it is of no use without the credential.
func logoutToken(c Credential) string {
	return logoutTokenPrefix + tokenFor(c, logoutTokenPurpose)
}

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

// logoutTokenMatches compares in constant time.
func logoutTokenMatches(c Credential, token string) bool {
	return subtle.ConstantTimeCompare([]byte(logoutToken(c)), []byte(token)) == 1
}
