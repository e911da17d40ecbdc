#!/usr/bin/env bash
# The API part of Ory's public example of a self-service logout, with the host
# and the token taken from the environment and nothing else changed.
# (c) Ory Corp, Apache-2.0.

# Set your token here
session_token=$CADDY_LOGOUT_SESSION_TOKEN

curl -s -v -X DELETE \
  -H "Accept: application/json" \
  -H "Content-Type: application/json" \
  --data '{"session_token": "'$session_token'"}' \
  $CADDY_LOGOUT_URL/self-service/logout/api
