// Package login knows the people who may sign in with a password: it reads the
// accounts file, compares passwords, and limits failed tries. It knows neither
// HTTP nor sessions.
package login
