"""Models behind OpenAI-compatible servers: one client for judges and for `openai:NAME` predictors.

address     where the server is, whoever says so (option or environment), and what stands between
server      one model there: how it is asked, what it does not accept, what its errors mean
completion  what came back, read without trust
preflight   what is found out before anything is paid for
prices      what models cost, and when they end
"""
