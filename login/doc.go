// Package login has the accounts of people who sign in with a password: it
// reads the accounts file, compares passwords, and limits failed attempts. It
// knows neither HTTP nor sessions.
package login
