"""The standards' doors to the same decision: OAuth metadata, tokens, introspection, revocation (decision 0021)."""
