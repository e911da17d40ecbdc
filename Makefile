include xcaddy.mk
