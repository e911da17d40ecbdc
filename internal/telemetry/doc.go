// Package telemetry counts, logs and traces what happens to sessions. No metric, line, event
// or span holds a credential, a key or a token.
package telemetry
